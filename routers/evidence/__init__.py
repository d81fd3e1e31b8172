"""Answers as evidence: ask, compare what came back, and decide whether to accept it or to ask on."""
