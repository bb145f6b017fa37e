"""The product in one terminal: an embedded broker, the emulator, and a purchase-to-pay process that streams."""
