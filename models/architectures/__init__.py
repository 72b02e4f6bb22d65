"""The five sequential recommenders, a module each: what they share is in `base`, `packing` and `layers`. Does not belong here: losses and training."""
