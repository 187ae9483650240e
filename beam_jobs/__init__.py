"""Beam pipelines, one file a job. ``build_pairs`` turns an image set into a dataset."""
