"""One module per chart: its data (`…_info`, pure) apart from its drawing (`draw_…`, on the axes it is given)."""
