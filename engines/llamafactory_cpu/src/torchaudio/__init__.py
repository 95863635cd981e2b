"""Stands for torchaudio where only text is trained on; see the README of this directory."""
