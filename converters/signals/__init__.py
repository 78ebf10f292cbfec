"""Recordings over time: ECG, EEG, polysomnography, physiology; and the marks on their time axis."""
