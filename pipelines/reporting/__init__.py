"""What people look at: contact sheets, histograms and the HTML report."""
