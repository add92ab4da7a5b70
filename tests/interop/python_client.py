"""grpcio of Debian, which stands on the C core; the contract comes from the descriptors that the
daemon has for its reflection.

    python_client.py HOST:PORT SALE_ID DESCRIPTORS
"""
import os
import sys
import threading
import time

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tally import Tally

address, sale_id, descriptors = sys.argv[1], int(sys.argv[2]), sys.argv[3]

pool = descriptor_pool.DescriptorPool()
files = descriptor_pb2.FileDescriptorSet()
with open(descriptors, 'rb') as file:
    files.ParseFromString(file.read())
for each in files.file:
    pool.Add(each)
factory = message_factory.MessageFactory(pool)


def message(name):
    return factory.GetPrototype(pool.FindMessageTypeByName(name))


def tidegate(name):
    return message('tidegate.v1.' + name)


class Service:
    """The methods of a service as callables, by their names."""

    def __init__(self, channel, name):
        for method in pool.FindServiceByName(name).methods:
            kind = self.kind_of(files, name, method.name)
            make = getattr(channel, kind)
            setattr(self, method.name, make(
                f'/{name}/{method.name}',
                request_serializer=lambda m: m.SerializeToString(),
                response_deserializer=factory.GetPrototype(method.output_type).FromString))

    @staticmethod
    def kind_of(file_set, service, method):
        for file in file_set.file:
            for one in file.service:
                if f'{file.package}.{one.name}' != service:
                    continue
                for each in one.method:
                    if each.name == method:
                        return (('stream' if each.client_streaming else 'unary') + '_' +
                                ('stream' if each.server_streaming else 'unary'))
        raise KeyError(method)


tally = Tally('python')
check = tally.check


def fails_with(code, call):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, f'{error.code()}: {error.details()}'
        return error
    raise AssertionError(f'the status is OK, not {code}')


channel = grpc.insecure_channel(address)
api = Service(channel, 'tidegate.v1.TidegateService')
health = Service(channel, 'grpc.health.v1.Health')
reflection = Service(channel, 'grpc.reflection.v1alpha.ServerReflection')


def order(user, **fields):
    made = tidegate('PlaceOrderRequest')(
        request_id=os.urandom(16), sale_id=sale_id, sku='A', user_id=user, quantity=1,
        unit_price_minor=100)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@check('health')
def _():
    ask = message('grpc.health.v1.HealthCheckRequest')
    assert health.Check(ask()).status == 1
    assert health.Check(ask(service='tidegate.v1.TidegateService')).status == 1
    fails_with(grpc.StatusCode.NOT_FOUND, lambda: health.Check(ask(service='no.such')))
    watch = health.Watch(ask())
    assert next(watch).status == 1
    watch.cancel()


@check('reflection')
def _():
    ask = message('grpc.reflection.v1alpha.ServerReflectionRequest')
    answers = list(reflection.ServerReflectionInfo(iter([
        ask(list_services=''), ask(file_by_filename='tidegate/v1/service.proto'),
        ask(file_containing_symbol='tidegate.v1.PlaceOrderRequest'),
        ask(file_by_filename='no/such.proto')])))
    names = [each.name for each in answers[0].list_services_response.service]
    assert 'tidegate.v1.TidegateService' in names
    found = [descriptor_pb2.FileDescriptorProto.FromString(each)
             for each in answers[1].file_descriptor_response.file_descriptor_proto]
    assert [each.name for each in found] == ['tidegate/v1/service.proto',
                                             'tidegate/v1/tidegate.proto']
    assert len(answers[2].file_descriptor_response.file_descriptor_proto) == 1
    assert answers[3].error_response.error_code == 5


@check('a sale, orders, a refusal')
def _():
    now_ms = api.GetServerTime(tidegate('GetServerTimeRequest')()).server_time_ms
    made = api.CreateSale(tidegate('CreateSaleRequest')(
        sale=tidegate('Sale')(sale_id=sale_id, kind=1, name='interop', currency='CNY',
                              starts_at_ms=now_ms - 1000, ends_at_ms=now_ms + 3600000),
        items=[tidegate('SaleItem')(sku='A', sale_price_minor=100, stock_units=2)]))
    assert made.verdict == 15
    assert [api.PlaceOrder(order(user)).verdict for user in (1, 2, 3)] == [1, 1, 2]


@check('what a status says is google.rpc.Status')
def _():
    error = fails_with(grpc.StatusCode.INVALID_ARGUMENT, lambda: channel.unary_unary(
        '/tidegate.v1.TidegateService/GetItem')(b'\xff\xff'))
    details = dict(error.trailing_metadata())['grpc-status-details-bin']
    assert b'google.rpc.ErrorInfo' in details and b'MALFORMED_MESSAGE' in details
    assert b'tidegate' in details


@check('the channel outlives a message that is none')
def _():
    assert api.PlaceOrder(order(4)).verdict == 2


@check('WatchItem tells of a change')
def _():
    watch = api.WatchItem(tidegate('WatchItemRequest')(sale_id=sale_id, sku='A', interval_ms=20))
    assert next(watch).status.available_units == 0
    change = tidegate('AdjustStockRequest')(sale_id=sale_id, sku='A', delta_units=7, reason='x')
    assert api.AdjustStock(change).verdict == 15
    assert next(watch).status.available_units == 7
    watch.cancel()


@check('a group reads its events by stream and by poll')
def _():
    group = f'python-{sale_id}'
    assert api.CreateGroup(tidegate('CreateGroupRequest')(group=group, from_now=True)).verdict == 15
    stream = api.SubscribeEvents(tidegate('SubscribeEventsRequest')(group=group))
    placed = api.PlaceOrder(order(5))
    page = next(stream)
    assert page.events[0].order_id == placed.order_id
    stream.cancel()
    poll = api.ConsumeEvents(tidegate('ConsumeEventsRequest')(group=group))
    assert poll.events[0].order_id == placed.order_id


@check('a poll ends at its deadline, and when it is cancelled')
def _():
    api.CreateGroup(tidegate('CreateGroupRequest')(group='python-wait', from_now=True))
    ask = tidegate('ConsumeEventsRequest')(group='python-wait', wait_ms=30000)
    fails_with(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: api.ConsumeEvents(ask, timeout=0.3))
    future = api.ConsumeEvents.future(ask)
    threading.Timer(0.2, future.cancel).start()
    began = time.monotonic()
    try:
        future.result()
        raise AssertionError('it was answered')
    except grpc.FutureCancelledError:
        pass
    assert time.monotonic() - began < 10


@check('200 streams at a time on one channel')
def _():
    ask = tidegate('WatchItemRequest')(sale_id=sale_id, sku='A', interval_ms=20)
    streams = [api.WatchItem(ask) for _ in range(200)]
    for stream in streams:
        assert next(stream).verdict == 15
    for stream in streams:
        stream.cancel()
    assert api.GetItem(tidegate('GetItemRequest')(sale_id=sale_id, sku='A')).verdict == 15


@check('4,096 orders in one message')
def _():
    batch = tidegate('PlaceOrdersRequest')(orders=[order(100 + i) for i in range(4096)])
    answer = api.PlaceOrders(batch)
    assert answer.verdict == 15 and len(answer.results) == 4096


@check('compressed messages are refused')
def _():
    fails_with(grpc.StatusCode.UNIMPLEMENTED, lambda: api.PlaceOrder(
        order(6, external_id=b'x' * 32), compression=grpc.Compression.Gzip))


tally.end()
