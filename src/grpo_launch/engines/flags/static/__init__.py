"""Argument classes of installed packages, read from their source and never imported.

``modules`` reads files, ``classes`` resolves names, bases and fields in them,
``annotations`` and ``choices`` say what a command line takes for a field.
"""
