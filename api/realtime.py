from flask_socketio import SocketIO


def create_socketio(settings):
    return SocketIO(async_mode="threading")


class Realtime:
    def __init__(self, socketio, **k):
        pass

    def start(self):
        pass

    def stop(self, t):
        pass

    def disconnect_all(self):
        pass

    def is_listening(self, t, d):
        return False

    def publish(self, b):
        pass

    def device_changed(self, *a):
        pass
