"""Checkers under mutation: each small change to one must turn a self-test red, or be explained.

`make mutants` tries them all, `make test` as many as fit into its time. mutmut makes the mutants; forks of
one pytest process, in which the self-tests are collected once, try them (a new pytest for each took a
second and more, a fork a twentieth of that). What mutmut leaves out is not tried: constants, defaults of
dataclasses, properties.
"""
