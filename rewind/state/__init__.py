"""What a state is: its layout, columns, copies, digest, and the difference of two.

May import kernel and errors.
"""
