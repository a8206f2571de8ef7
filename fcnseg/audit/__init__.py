"""A look at a data set before training: what is wrong with it, and what it holds.

=================  =================================================================
``report.py``      ``Finding``, ``Record`` and ``Report``: what was found in one split
``survey.py``      every sample looked at, in worker processes, in full or quickly
``examine.py``     what those processes do with one sample
``doubts.py``      what can be read and is doubtful, within a split and across splits
``balance.py``     class weights from pixel counts
``kinds.py``       kinds of masks in words, findings of one kind together
``first_look.py``  what ``fcnseg train`` looks at by itself (``copies.py``: image files twice)
``guess.py``       what an unknown folder of masks holds (``tally.py``, ``known.py``)
``page.py``        reports to the HTML page (``showcase.py`` chooses its samples)
=================  =================================================================
"""
