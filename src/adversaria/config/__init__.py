"""From the files of ``conf/`` and a command line to objects: what may be written where, and what is built from it."""
