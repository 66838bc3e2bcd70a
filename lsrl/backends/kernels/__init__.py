"""Kernels: a program as generated code that runs a batch of streams, in C for CPUs and in Triton for GPUs.

A program becomes the graph of one lane (`lanes`), its numbers get machine types (`storage`), nodes become
straight-line code (`code`, `lowering`), cells become scans (`scans`), and all of it a plan (`plan`), from which each
backend's emitter writes its text.
"""
