"""Articles in, labelled sentences out: one file or ten million rows, by the same steps.

``inputs`` finds files, folders and ``tables`` and cuts them into ``items``; ``sources`` makes an article of an item,
or says why it is none; ``columns`` looks for missing columns before; ``shards`` labels a run of items; ``rows``,
``writers`` and ``annotated`` give the outputs their form; ``archive`` keeps what is done safe from any interruption;
``ray_engine`` runs shards on a cluster; ``command`` is the flow of `selon label`. Imports neither torch, transformers
nor mlflow.
"""
