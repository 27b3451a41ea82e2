"""quote_table(): the answers of quote() for a whole table of clips at once.

Nothing is priced here. The distinct clips of a table are found, each is priced once by quote(), and
the answers are copied to the rows, so a table and quote() cannot differ. Only this part of the
package imports pandas, and no other part imports it.
"""

from kling_pricing.bulk.pricing import ANSWER_COLUMNS, NOTES_BETWEEN, Known, quote_table
from kling_pricing.bulk.totals import combine_totals, totals

__all__ = ["ANSWER_COLUMNS", "NOTES_BETWEEN", "Known", "combine_totals", "quote_table", "totals"]
