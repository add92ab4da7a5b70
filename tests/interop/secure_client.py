"""grpcio of Debian with TLS and tokens: each call says who it is, also side by side on one channel.

    secure_client.py HOST:PORT DESCRIPTORS CA_FILE SUBMIT_TOKEN_FILE READ_TOKEN_FILE
"""
import os
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tally import Tally

address, descriptors, ca_file, submit_file, read_file = sys.argv[1:6]
pool = descriptor_pool.DescriptorPool()
files = descriptor_pb2.FileDescriptorSet()
with open(descriptors, 'rb') as file:
    files.ParseFromString(file.read())
for each in files.file:
    pool.Add(each)
factory = message_factory.MessageFactory(pool)


def tidegate(name):
    return factory.GetPrototype(pool.FindMessageTypeByName('tidegate.v1.' + name))


def read(path, mode='r'):
    with open(path, mode) as opened:
        return opened.read()


channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(read(ca_file, 'rb')))
SUBMIT, READ = read(submit_file).strip(), read(read_file).strip()
def call(method, request, token=None, answer=None):
    make = channel.unary_unary(
        '/tidegate.v1.TidegateService/' + method,
        request_serializer=lambda m: m.SerializeToString(),
        response_deserializer=tidegate(answer or method + 'Response').FromString)
    metadata = [('authorization', 'Bearer ' + token)] if token else None
    return make(request, metadata=metadata, timeout=20)


def code_of(*args):
    try:
        call(*args)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


tally = Tally('python with TLS')
check = tally.check


ORDER = tidegate('PlaceOrderRequest')(request_id=os.urandom(16), sale_id=9, sku='A', user_id=1,
                                      quantity=1, unit_price_minor=1)
SALES = tidegate('ListSalesRequest')()


@check('without a token nothing is done')
def _():
    assert code_of('PlaceOrder', ORDER) == grpc.StatusCode.UNAUTHENTICATED
    assert code_of('PlaceOrder', ORDER, 'tg_x_' + 'y' * 43) == grpc.StatusCode.UNAUTHENTICATED


@check('a token does what its roles say')
def _():
    assert call('PlaceOrder', ORDER, SUBMIT).verdict == 8  # there is no such sale
    assert call('ListSales', SALES, READ).verdict == 15
    assert code_of('PlaceOrder', ORDER, READ) == grpc.StatusCode.PERMISSION_DENIED
    assert code_of('ListSales', SALES, SUBMIT) == grpc.StatusCode.PERMISSION_DENIED


@check('calls of one channel each have their own')
def _():
    for _ in range(50):
        assert call('PlaceOrder', ORDER, SUBMIT).verdict == 8
        assert code_of('PlaceOrder', ORDER, READ) == grpc.StatusCode.PERMISSION_DENIED
        assert call('ListSales', SALES, READ).verdict == 15


@check('who shows none does not get that of the call before')
def _():
    assert call('ListSales', SALES, READ).verdict == 15
    assert code_of('ListSales', SALES) == grpc.StatusCode.UNAUTHENTICATED


tally.end()
