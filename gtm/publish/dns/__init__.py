"""Answer tables on disk: the controller publishes them into the state folder, workers and readers map them from there.

control    one small shared page: the generation that tells workers to look again, and the controller's pulse
sealed     files that prove to be whole before anything in them is believed
manifest   which files make up the current tables
tables     the tables themselves: written by the controller, put together by workers
"""
