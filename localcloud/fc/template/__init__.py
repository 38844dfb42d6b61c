"""A Serverless Devs ``s.yaml`` (edition 3.0.0, component fc3) as checked, frozen values.

Real tools let a misspelt key pass (function-compute.md section 2.5), and a template that only works because nobody
looked is what this local cloud is there to find. So every key is either known, or documented but not emulated (and
refused by that name), or a mistake. Defaults are the documented ones, the uncomfortable ones included: three seconds
to run, a stream that stops when retries run out.

``load`` reads the file, with ``variables`` resolved; ``props`` and ``triggers`` are what a function and its triggers
may say; ``parts`` is how strictly.
"""
