"""From photographs to labels, scores and heatmaps. Nothing here keeps state between images."""
