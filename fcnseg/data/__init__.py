"""Data sets: where samples come from and how they become batches.

A sample is one image with one class id per pixel (``sample.py``). A *source* is one split of one
data set: it knows its class names and colours, and decodes a sample when asked for it.

====================  =============================================================
``sample.py``         ``Sample``, the ``Source`` protocol and the void label 255
``pairs.py``          ``ImagePairs``: the source behind every format that has files
``images.py``         files -> pixels, decoded in full, by one set of rules
``scaling.py``        samples at another size
``encodings.py``      mask pixels -> class ids: palette, index, RGB, 0/255
``names.py``          which image belongs to which mask, by name (the rules: ``naming.py``)
``lookup.py``         image files by the names that another program wrote
``folder.py``         the user's own folders of images and masks
``coco.py``           COCO, and the JSON that labelling tools export (with ``coco_file.py``,
                      ``coco_json.py`` and ``instances.py``)
``voc.py``            the PASCAL VOC layout
``voc_aug.py``        SBD, the larger training set of VOC (its files are read by
                      ``mat_files.py``); ``voc_download.py`` fetches both
``camvid.py``         CamVid in the layout of the SegNet tutorial (``camvid_classes.py``)
``own_format.py``     a format of the user's own, in one Python file
``shapes.py``         generated scenes that need no files (drawn by ``painting.py``)
``class_folders.py``  images for classifiers, a folder a class
``subset.py``         a part of a source
``transforms.py``     training augmentation (the only file that imports albumentations);
                      ``cropping.py`` cuts image and labels, ``colours.py`` varies colours
``loading.py``        sources -> batches, with worker processes
``cache.py``          decoded samples in a memory-mapped file (its format: ``pack.py``;
                      what tells that a sample has changed: ``stamps.py``)
====================  =============================================================

To add a format, write one file with one function that lists the files of a split and returns
``ImagePairs``, which decodes, checks sizes and names the file in every error. What reads a label
is given to it as a function ``(pair, max_pixels) -> (H, W) uint8``. ``--data FILE.py`` finds a
function ``source(root, split)``; a format that comes with fcnseg is named in ``sources.py``.
"""
