"""The parts of a workbook: where cells lie, how they are written, one module a kind of sheet."""
