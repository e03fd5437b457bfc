from django.apps import AppConfig


class SfsyncConfig(AppConfig):
    name = "sfsync"

    def ready(self) -> None:
        from sfsync import celery

        celery.configure()
