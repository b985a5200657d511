"""The whole chain, from HTTP intake to the portal's acceptance, beside reference pipelines.

``__main__`` says how it is run; ``docs/performance.md`` what is measured and how.
"""
