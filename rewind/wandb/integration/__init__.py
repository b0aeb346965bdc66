"""What other libraries call while they train: a module for each library, which imports that when a name is asked for.

Their callbacks have to be classes of theirs. So each module has what a callback does as a class of its own, and makes
the callback of it and of the library's class when it is first asked for.
"""

from __future__ import annotations
