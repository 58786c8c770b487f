"""What programs may expect of the modules `rbd` and `rados`, whoever made them.

Each expectation is a function that uses the modules as a program would; a cluster's own modules and cowshed's
run the same ones (`python -m contract.run`). This room needs the standard library and the two modules, and
nothing else, for it runs under the interpreter that the modules were built for.
"""
