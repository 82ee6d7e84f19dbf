"""The operations dashboard: live pages made from the read models; what they change goes through commands.

How to add a page: one module ``<name>_page.py`` with a function ``<name>_page(ports, renderer) -> APIRouter``,
one template ``templates/<name>.html`` that extends ``base.html``, its router in ``dashboard.py`` and its place
in ``navigation.py``: among ``PLACES``, or among ``OPERATION_VIEWS`` when it is about one operation (such a
template begins with ``{% include "operation_header.html" %}``). Elements that repeat are macros in
``templates/elements.html``; one style sheet serves all pages, and one script, whose parts are named in
``assets.py``. No script and no style in a template: the policy of ``security.py`` lets neither run.
"""
