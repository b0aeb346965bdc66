"""The exit codes, as the end of ``rewind --help`` says them."""

OK, DIFFERENT, CANNOT_RUN, REFUSED, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 3, 130, 141
