"""Data in and out of programs: files and streams of text, JSON lines, CSV, NumPy and Parquet.

`with open_output(graph, out) as target: run_stream(graph, open_input(graph, path), target)` is the whole of it.
"""

from lsrl.streams.readers import Reader
from lsrl.streams.run import INPUT_FORMATS, OUTPUT_FORMATS, open_input, open_output, run_stream
from lsrl.streams.state_files import load_state, program_digest, save_state
from lsrl.streams.writers import Writer

__all__ = ["INPUT_FORMATS", "OUTPUT_FORMATS", "Reader", "Writer", "load_state", "open_input", "open_output",
           "program_digest", "run_stream", "save_state"]
