"""Data sets: where samples come from and how they become batches.

A sample is one image with one class id per pixel (``sample.py``). A *source* is one split of one
data set: it knows its class names and colours, and decodes a sample when asked for it.

=================  ===============================================================
``sample.py``      ``Sample``, the ``Source`` protocol and the void label 255
``images.py``      files -> pixels, decoded in full, by one set of rules
``encodings.py``   mask pixels -> class ids: palette, index, RGB, 0/255
``pairs.py``       one image file and its mask file -> one sample
``folder.py``      the user's own folders of images and masks
``camvid.py``      CamVid in the layout of the SegNet tutorial
``voc.py``         the PASCAL VOC layout
``shapes.py``      generated scenes that need no files (drawn by ``painting.py``)
``transforms.py``  training augmentation (the only file that imports albumentations)
``loading.py``     sources -> batches, with worker processes
``check.py``       every fault of a source, before training
=================  ===============================================================

To add a format, write one file with one class that has the members of ``Source``. List the files
and refuse what is missing in ``__init__``; read in ``__getitem__`` through ``pairs.read_pair``,
which checks sizes and names the file in every error. Keep the object picklable (plain attributes
only), so that worker processes can be started by spawn. Nothing else has to know the new format
but ``sources.py``, which turns the ``--data`` flag into a source.
"""
