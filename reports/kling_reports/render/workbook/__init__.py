"""The parts of a workbook: where cells are, how they are written, one module per kind of sheet."""
