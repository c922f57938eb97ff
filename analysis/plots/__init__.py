"""One module per chart: its data (`…_info`, pure) apart from its drawing (`draw_…`)."""
