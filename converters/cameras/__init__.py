"""Where a camera was and what it saw how far away: poses as transforms, depth as images."""
