"""Function Compute of one local cloud: deploys templates, answers the API, and shows what it does."""

import asyncio
import base64
import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web

from localcloud.call import Call
from localcloud.fc import api, interpreters, packages
from localcloud.fc.deployment import Check, Deployed, warm_up
from localcloud.fc.errors import DeployError
from localcloud.fc.functions import Function, Identity
from localcloud.fc.instances import Surroundings
from localcloud.fc.invocations import Invocation, new_request_id
from localcloud.fc.logs import FunctionLog
from localcloud.fc.pool import Capacity
from localcloud.fc.processes import ForkServer, ForkServerError, Reaper
from localcloud.fc.queues import Queues
from localcloud.fc.shipping import Noticed, Remark, notice, notice_settings
from localcloud.fc.streams import SYNC_LIMIT, Stream
from localcloud.fc.tasks import FINAL, Tasks
from localcloud.fc.template.load import FunctionSpec, load
from localcloud.fc.template.triggers import EventBridgeTrigger, HttpTrigger, TimerTrigger
from localcloud.fc.timers import Timer
from localcloud.fc.web import Front, is_free, read_body
from localcloud.kernel import Cloud
from localcloud.mns.platform import PlatformAccess
from localcloud.ordered import Names
from localcloud.plain import TlsWitness
from localcloud.refusal import Refusal, not_emulated
from localcloud.signatures import acs3


class FcService:
    """The functions of the deployment account, their triggers and their instances."""

    def __init__(self, cloud: Cloud, platform: PlatformAccess, tls: TlsWitness) -> None:
        self._cloud = cloud
        self._tls = tls
        cloud.register_workers(self)
        self.worker_environment: dict[str, str] = {}
        """Variables of localcloud's own environment that workers get (coverage uses it)."""
        self.preloaded: tuple[str, ...] = ()
        """Modules that workers of built-in runtimes have imported when they are born."""
        self.as_built = False
        """Code folders hold their dependencies, so their runtime's Python runs them with no packages of its own."""
        self._http_ports = cloud.file.deploy.http_ports if cloud.file.deploy is not None else {}
        self._domains = cloud.file.deploy.custom_domains if cloud.file.deploy is not None else {}
        self._queues = Queues(platform)
        self._tasks = Tasks(cloud, self._queues, self._find)
        self._deployed: Names[Deployed] = Names()
        self._logs: dict[str, FunctionLog] = {}
        self._capacity = Capacity()
        self._reaper = Reaper()
        self._forkserver: ForkServer | None = None
        self._deploying = asyncio.Lock()
        self._packages: Path | None = None
        self._laid_out = 0

    async def stop(self) -> None:
        """End every trigger and every process."""
        await asyncio.gather(*(deployed.stop() for deployed in self._deployed.values()))
        if self._forkserver is not None:
            await self._forkserver.stop()
        await self._reaper.stop()

    # For the admin API and the kernel

    async def deploy(self, template_path: Path | str, env: Mapping[str, str]) -> list[dict[str, Any]]:
        """Deploy all functions of an s.yaml, or none: raises DeployError. Functions of the same names are replaced."""
        async with self._deploying:
            world = self._cloud.world
            path = Path(template_path).resolve()
            specs = await asyncio.to_thread(load, path, env, world.deploy_account)
            names = {spec.name for spec in specs} | set(self._deployed)
            try:
                identities = Check(world, self._queues, names).identities(specs)
                reserved = self._capacity.planned({spec.name: spec.props.reserved_concurrency for spec in specs})
            except (DeployError, ValueError) as problem:
                raise DeployError(f"{path} {problem}") from None
            self._check_ports(path, specs)
            remarks = await self._notice(path, specs, identities)
            try:
                await self._reaper.start()
                if self._packages is None:
                    self._packages = Path(tempfile.mkdtemp(prefix="localcloud-packages-"))
                    self._reaper.sweep(self._packages)
                folders = await asyncio.to_thread(self._lay_out, specs, self._packages)
            except OSError as problem:
                raise DeployError(f"{path}: the package cannot be laid out: {problem}") from None
            try:
                if self.preloaded:
                    self._forkserver = self._forkserver or ForkServer(self._reaper, self.preloaded)
                    await self._forkserver.start()
            except ForkServerError as problem:
                raise DeployError(f"cannot be preloaded: {problem.strerror}") from None
            pythons = {interpreters.wanted(spec.props) for spec in specs} if self.as_built else set[str]()
            around = self._surroundings(await interpreters.as_built(pythons))
            functions = [
                Function(
                    replace(spec, code=folders[spec.code]),
                    identities[spec.name],
                    self._log(spec.name),
                    around,
                    self._capacity,
                )
                for spec in specs
            ]
            try:
                await warm_up(functions)
            except BaseException:
                await asyncio.gather(*(function.pool.stop() for function in functions))
                raise
            self._capacity.reserved = reserved
            for function in functions:
                self._remark(function, remarks[function.name])
                await self._put_to_work(function)
            return [self._deployed[function.name].snapshot() for function in functions]

    def knows(self, name: str) -> bool:
        """Whether there is such a function."""
        return name in self._deployed

    def functions(self) -> list[dict[str, Any]]:
        """All functions with their triggers and instances."""
        return [deployed.snapshot() for deployed in self._deployed.values()]

    async def logs(self, name: str, after: int = 0, wait: float = 0.0) -> list[dict[str, Any]]:
        """Lines of a function's log numbered above ``after``; waits so many real seconds for the first. KeyError: no such."""
        log = self._logs[name]
        await log.wait(after, wait)
        return log.read(after)

    async def kill(self, name: str) -> list[str]:
        """SIGKILL all instances of a function, whatever they do just now; their ids. KeyError: there is no such function."""
        pool = self._deployed[name].function.pool
        doomed = [instance for instance in pool.instances if instance.process is not None]
        pool.kill()
        await asyncio.gather(*(instance.process.wait() for instance in doomed if instance.process is not None))
        return [instance.id for instance in doomed]

    def kill_origin(self, access_key_id: str) -> bool:
        """SIGKILL the worker that was given this access key; whether there was one."""
        for deployed in self._deployed.values():
            for instance in deployed.function.pool.instances:
                if access_key_id and access_key_id in instance.keys:
                    instance.kill()
                    return True
        return False

    def snapshot(self) -> dict[str, Any]:
        """For GET /_localcloud/world."""
        return {"functions": self.functions(), "async_tasks": self._tasks.snapshot()}

    # Deploying

    async def _notice(
        self, path: Path, specs: list[FunctionSpec], identities: Mapping[str, Identity]
    ) -> dict[str, list[Remark]]:
        """What Function Compute would notice about each function; a DeployError for what cannot run there."""
        world = self._cloud.world
        remarks: dict[str, list[Remark]] = {}
        problems: list[str] = []
        seen: dict[tuple[Path, str, str], Noticed] = {}
        for spec in specs:
            package = (spec.code, spec.props.runtime, spec.props.region)
            try:
                if package not in seen:
                    seen[package] = await asyncio.to_thread(notice, spec.props, spec.code, self._cloud.switches)
                noticed = seen[package]
            except OSError as problem:
                raise DeployError(f"{path}: the package cannot be read: {problem}") from None
            problems += [f"function {spec.name} ({spec.where}.code): {each.text}" for each in noticed.refusals]
            role = world.roles.get((world.deploy_account, identities[spec.name].role))
            around = notice_settings(spec.props, role, world.deploy_account, self._cloud.switches)
            problems += [f"function {spec.name} ({spec.where}): {each.text}" for each in around.refusals]
            remarks[spec.name] = noticed.remarks + around.remarks
        if problems:
            raise DeployError("\n  ".join([f"{path} cannot be deployed:", *problems]))
        return remarks

    def _check_ports(self, path: Path, specs: list[FunctionSpec]) -> None:
        """A port that the world file gives to an HTTP trigger has to be free, or the function's already."""
        for spec in specs:
            port = self._http_ports.get(spec.name, 0)
            before = self._deployed.get(spec.name)
            if not port or (before is not None and before.front is not None):
                continue
            if any(isinstance(trigger, HttpTrigger) for trigger in spec.props.triggers) and not is_free(port):
                raise DeployError(
                    f"{path} cannot be deployed: port {port}, which the world file gives to {spec.name}, is taken"
                )

    def _remark(self, function: Function, remarks: list[Remark]) -> None:
        """Say it where people look: in the function's log, its description and the journal."""
        for remark in remarks:
            function.remarks.append(remark.text)
            function.log.write("", "", "runtime", remark.text)
            text = f"{function.name}: {remark.text}"
            self._cloud.journal.note_refused(
                self._cloud.clock.now(), "fc", "DeployFunction", "", "", 200, remark.code, text
            )

    def _find(self, name: str) -> Function | None:
        deployed = self._deployed.get(name)
        return deployed.function if deployed is not None else None

    def _log(self, name: str) -> FunctionLog:
        return self._logs.setdefault(name, FunctionLog(self._cloud.clock.now))

    def _lay_out(self, specs: list[FunctionSpec], place: Path) -> dict[Path, Path]:
        """The folder each function finds its code in, by the folder the template names."""
        folders: dict[Path, Path] = {}
        for spec in specs:
            if spec.code not in folders:
                self._laid_out += 1
                folders[spec.code] = packages.lay_out(spec.code, place / str(self._laid_out))
        return folders

    def _surroundings(self, pythons: Mapping[str, Path]) -> Surroundings:
        cloud = self._cloud
        return Surroundings(
            clock=cloud.clock,
            world=cloud.world,
            switches=cloud.switches,
            reaper=self._reaper,
            forkserver=self._forkserver,
            account=cloud.world.deploy_account,
            region=cloud.world.region,
            interpreters=pythons,
            forwarded=dict(self.worker_environment),
        )

    async def _put_to_work(self, function: Function) -> None:
        """Replace what was deployed under the name before, keeping its HTTP port, and let the triggers pull."""
        deployed = Deployed(function)
        named = function.props.custom_domain
        domain = self._domains.get(function.name) if named is None else named.domain_name
        port = self._http_ports.get(function.name, 0)
        before = self._deployed.take(function.name)
        if before is not None:
            port = before.front.port if before.front is not None else port
            await before.stop()
        for trigger in function.props.triggers:
            if isinstance(trigger, EventBridgeTrigger):
                deployed.streams.append(Stream(self._cloud, function, trigger, self._queues, self._tasks))
            elif isinstance(trigger, TimerTrigger):
                deployed.timers.append(Timer(self._cloud, function, trigger, self._tasks))
            elif isinstance(trigger, HttpTrigger):
                deployed.front = Front(self._cloud, function, trigger, self._tls, domain)
                await deployed.front.start(port)
        self._deployed[function.name] = deployed
        deployed.start()

    # The API

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request. Raises Cut when planned trouble wants the connection dropped."""
        request_id = new_request_id()
        path = request.raw_path.partition("?")[0]
        generation = api.generation_of(path)
        call: Call | None = None
        try:
            route = api.read_route(request.method, path)
            body = await read_body(request, SYNC_LIMIT)
            call = self._authenticated(request, path, body, route, request_id)
            asked = call
            return await self._cloud.perform(call, lambda: self._execute(request, route, asked, body))
        except Refusal as refusal:
            if call is None:
                self._cloud.turned_away("fc", request.method, refusal, request_id=request_id)
            return api.refused(refusal, generation, request_id)

    def _authenticated(
        self, request: web.BaseRequest, path: str, body: bytes, route: api.Route, request_id: str
    ) -> Call:
        if request.headers.get("Authorization", "").startswith("FC "):
            raise not_emulated("The older signature 'FC <key>:<signature>'")
        world = self._cloud.world
        signed = acs3(
            request.method,
            path,
            request.query.items(),
            request.headers,
            body,
            secret_of=world.secret_of,
            nonces=self._cloud.nonces,
        )
        caller = self._cloud.authenticate(signed.access_key_id, signed.security_token)
        label = request.host.partition(".")[0]
        account = label if label.isdecimal() and 15 <= len(label) <= 20 else caller.account
        resource = route.resource(world.region, account)
        params: dict[str, Any] = {"function": route.function}
        if route.item:
            params["item"] = route.item
        if route.operation == "InvokeFunction":
            params["type"] = request.headers.get("x-fc-invocation-type", "Sync")
        return Call(
            service="fc",
            operation=route.operation,
            caller=caller,
            account=account,
            region=world.region,
            request_id=request_id,
            permissions=((f"fc:{route.operation}", resource),),
            params=params,
            source_ip=request.remote or "127.0.0.1",
        )

    async def _execute(self, request: web.BaseRequest, route: api.Route, call: Call, body: bytes) -> web.Response:
        if route.operation == "ListFunctions":
            return self._list_functions(request, call)
        deployed = self._named(route, call.account)
        qualifier = request.query.get("qualifier", "LATEST") or "LATEST"
        if qualifier != "LATEST":
            raise Refusal(404, "AliasNotFound", f"there is no version or alias '{qualifier}' of {route.function}")
        if route.operation == "InvokeFunction":
            return await self._invoke(request, route, call, deployed.function, body)
        if route.operation == "GetFunction":
            return _json(call, api.function_body(deployed.function, route.generation))
        if route.operation in {"GetConcurrencyConfig", "GetFunctionOnDemandConfig"}:
            return _json(call, api.concurrency_body(deployed.function, route.generation))
        if route.operation == "GetFunctionAsyncInvokeConfig":
            return _json(call, api.asynchronous_body(deployed.function, route.generation))
        if route.operation in {"ListTriggers", "GetTrigger"}:
            return self._triggers(request, route, call, deployed)
        return self._async_tasks(request, route, call, deployed.function)

    def _named(self, route: api.Route, account: str) -> Deployed:
        deployed = self._deployed.get(route.function) if account == self._cloud.world.deploy_account else None
        if deployed is not None:
            return deployed
        if route.generation == "3.0":
            raise Refusal(404, "FunctionNotFound", f"function '{route.function}' does not exist.")
        service, _, name = route.function.partition("$")
        if any(known.startswith(f"{service}$") for known in self._deployed):
            raise Refusal(404, "FunctionNotFound", f"function '{name}' does not exist in service '{service}'")
        raise Refusal(404, "ServiceNotFound", f"service '{service}' does not exist")

    def _list_functions(self, request: web.BaseRequest, call: Call) -> web.Response:
        mine = self._deployed if call.account == self._cloud.world.deploy_account else Names[Deployed]()
        limit = api.limited(request.query.get("limit", ""), 20)
        names = mine.page(prefix=request.query.get("prefix", ""), first=request.query.get("nextToken", ""))
        shown, token = api.page(names, limit)
        found = [api.function_body(mine[name].function, "3.0") for name in shown]
        return _json(call, {"functions": found, **({"nextToken": token} if token else {})})

    def _triggers(self, request: web.BaseRequest, route: api.Route, call: Call, deployed: Deployed) -> web.Response:
        bodies = [
            api.trigger_body(deployed.function, trigger, deployed.url) for trigger in deployed.function.props.triggers
        ]
        if route.operation == "GetTrigger":
            for body in bodies:
                if body["triggerName"] == route.item:
                    return _json(call, body)
            raise Refusal(
                404, "TriggerNotFound", f"trigger '{route.item}' does not exist in function '{route.function}'"
            )
        named: Names[dict[str, Any]] = Names()
        for body in bodies:  # a function has fifty triggers at most
            named[body["triggerName"]] = body
        limit = api.limited(request.query.get("limit", ""), 20)
        names = named.page(prefix=request.query.get("prefix", ""), first=request.query.get("nextToken", ""))
        shown, token = api.page(names, limit)
        found = [named[name] for name in shown]
        return _json(call, {"triggers": found, **({"nextToken": token} if token else {})})

    def _async_tasks(self, request: web.BaseRequest, route: api.Route, call: Call, function: Function) -> web.Response:
        old = route.generation == "2.0"
        if route.item:
            task = self._tasks.get(function.name, route.item)
            if route.operation.startswith("Stop"):
                if task.status in FINAL:
                    raise Refusal(412, "AsyncInvocationStopped", f"the async task '{task.id}' has ended: {task.status}")
                self._tasks.stop(task)
                call.effect = True
                return _json(call, {})
            return _json(call, api.task_body(task, route.generation, payload=True))
        query = request.query
        status, prefix = query.get("status", ""), query.get("invocationIdPrefix" if old else "prefix", "")
        payload = query.get("includePayload", "").lower() == "true"

        mine = self._tasks.of(function.name)
        names = mine.page(prefix=prefix, first=query.get("nextToken", ""))
        limit = api.limited(query.get("limit", ""), 50)
        shown, token = api.page((name for name in names if not status or mine[name].status == status), limit)
        found = [api.task_body(mine[name], route.generation, payload=payload) for name in shown]
        return _json(call, {"invocations" if old else "tasks": found, **({"nextToken": token} if token else {})})

    async def _invoke(
        self, request: web.BaseRequest, route: api.Route, call: Call, function: Function, body: bytes
    ) -> web.Response:
        options = api.InvokeOptions.read(request.headers, route.generation)
        headers = {"X-Fc-Request-Id": call.request_id}
        if options.asynchronous:
            task = self._tasks.submit(
                function,
                body,
                request_id=call.request_id,
                task_id=options.task_id,
                tracked=options.tracked,
                delay=options.delay,
            )
            call.effect = True
            call.status = 202
            call.params = {**call.params, "task_id": task.id}
            headers["X-Fc-Async-Task-Id"] = task.id
            return web.Response(status=202, headers=headers)
        call.effect = True
        outcome = await function.run(Invocation(call.request_id, body))
        call.params = {**call.params, "outcome": outcome.fate}
        headers["X-Fc-Instance-Id"] = outcome.instance_id
        headers["X-Fc-Invocation-Duration"] = str(int(outcome.milliseconds))
        if options.tail:
            headers["X-Fc-Log-Result"] = base64.b64encode(function.log.tail(call.request_id)).decode()
        kind = "application/octet-stream"
        if outcome.error_type:
            headers["X-Fc-Error-Type"] = outcome.error_type
            kind = "application/json"
        return web.Response(body=outcome.payload, content_type=kind, headers=headers)


def _json(call: Call, body: Mapping[str, Any]) -> web.Response:
    return web.Response(
        body=json.dumps(body).encode(), content_type="application/json", headers={"X-Fc-Request-Id": call.request_id}
    )
