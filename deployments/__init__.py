"""When and where: the command line, the local stack, deploying, automations, the demo."""
