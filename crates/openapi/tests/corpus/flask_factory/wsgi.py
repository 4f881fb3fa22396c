from shop import create_app

app = create_app()  # flask --app wsgi run
