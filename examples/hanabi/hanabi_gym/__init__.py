"""Hanabi as a text game for a language model; the rules are OpenSpiel's.

``settings``: which game a row asks for · ``table``: the game itself · ``view``: what a player sees,
as data · ``partner``: who plays the other seats · ``text``: observations and answers · ``episode``:
one conversation, with its rewards.
"""
