"""What builds import, for processes that are forked with it."""

from __future__ import annotations

import apache_beam.options.pipeline_options
import apache_beam.runners.portability.fn_api_runner  # noqa: F401

import beam_jobs.build_pairs  # noqa: F401
