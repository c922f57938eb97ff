"""Programs of the user's own: started, watched and ended on the node, and what they leave is read.

Standard library and the light part only: a run of a program costs little beyond the program.
"""
