"""Tests of the look-alikes of librbd's and librados' Python modules, and of the programs beside them."""
