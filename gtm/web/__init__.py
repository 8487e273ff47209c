"""The API, the status page and the metrics over a StatusSource that gtm.app implements; read only but for pushes.

`build(source)` in gtm.web.application is the ASGI application. Imports gtm.model, gtm.decide and gtm.answer only;
`gtm status` and the page show the same values (gtm.web.status).
"""
