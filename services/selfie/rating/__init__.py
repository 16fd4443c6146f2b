"""The program that rates responses by what people preferred, and not by any policy of the run.

A small model of people's choices on embeddings by the initial model, which no round changes; it is
fitted on labelled pairs that the run does not train on.
"""
