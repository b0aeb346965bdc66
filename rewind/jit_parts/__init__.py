"""What `rewind.jit` is made of: slots of a state, slots of the params, the generated driver, where it is kept."""
