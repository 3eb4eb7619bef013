"""Emulate the parts of Azure that containment depends on, behind the production host names.

One process, three loopback listeners: a CONNECT proxy (`proxy.py`), a TLS server with a private authority
(`server.py`, `authority.py`) and the control API in plain HTTP (`control.py`). Unmodified SDK clients reach
it through HTTPS_PROXY, REQUESTS_CA_BUNDLE and SSL_CERT_FILE (`AzureSandbox.environment()`).

What a module of a service needs; every handler runs alone under `state.lock`, so it needs no lock of its own:

- `table.operation(host, method, template, **rules)` registers `handler(call) -> Answer | dict | None`.
  Hosts are the kinds of `hosts.py` ("arm", "login", "graph", "blob", "acr", "vault", "logs", "cosmos",
  "servicebus", "devops", "github", "ai", ...); `hosts.register(kind, names, audiences)` adds one. Rules:
  `versions` (ARM, required), `action` (ARM permission, checked at the resource; with `data=True` it is a data
  action), `scope` (callable(call) -> id the permission is checked at, for data planes), `graph` (application
  permissions, any one suffices), `query` ({"comp": "list"}: only with this query; None means any value),
  `authenticated=False` (the handler looks after credentials itself; call.principal is None), `mutating`
  (default by method), `source` (title of the public page the behaviour comes from; required).
  Templates: `{name}` is one segment, `{scope}` at the start is any ARM id or nothing, `{name:path}` the rest.
- `call.Call`: params, path, query, headers (lower case), raw, body (parsed JSON object or 400), principal,
  resource_id, account (first label of the host), `require(action, scope, data=...)` for linked permissions.
  Raise `errors.ArmError(status, code, message)`, worded by the envelope of the host (`errors.envelope`).
  `call.notes["operation"]` and `call.notes["mutating"]` overrule what the record of calls says.
- `store.store`: get/need/put/patch/delete/list of `Item`(id, body, extra, etag); body is the ARM document
  without id, name, type; `item.document()` adds them. `extra` is private runtime state.
- `generic.resource_type("Microsoft.Compute/disks", versions=..., source=...)` gives plain CRUD + lists, with
  hooks (`on_put(call, item, before)`, `on_delete(call, item)`, `view(item)`), asynchronous=True for an LRO.
- `lro.put(call, item, created=...)` / `lro.accept(call, resource_id, finish)`: Azure-AsyncOperation with the
  injected duration (`lro_seconds`) and failure (fault kind "lro_failed").
- `paging.page(call, documents)`, `etag.check(call, current)`, `rbac.allowed(principal_id, action, scope)`,
  `directory.directory` (service principals, applications, groups), `tokens.issue(...)`,
  `activitylog.activity` (entries of a subscription), `clock.now()`, `state.settings["name"]`,
  `state.define(name, default)` for a setting of your own, `state.on_reset(hook)`, `calls.on_call(listener)`.
- `control.route(method, path)` adds a control route (`/_sandbox` + path), reached by `AzureSandbox.request`.
- `msi.assign_system_identity(item)`: call it in `on_put` of a type that can bear a system-assigned identity.
- A module is active once `modules.ACTIVE` names it.
"""
