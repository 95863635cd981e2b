"""MiniWoB++ as a text environment for a language model.

``settings``: which page a row asks for · ``text``: pages and answers as text · ``keeper``: the
process that a browser dies with · ``browser``: one Chromium and the thread that talks to it ·
``pool``: the browsers of a process · ``episode``: one conversation, on a browser that may be
replaced.
"""
