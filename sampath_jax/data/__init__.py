"""From files to checked, augmented batches on the device."""
