"""IBM Spectrum LSF: arrays by generated scripts, one `bjobs` for all jobs. Experimental."""
