"""How Alembic runs here: inside the transaction that `Database.migrate` has begun, over the store's own tables."""

from alembic import context

import nas_service.store.tables as tables

context.configure(connection=context.config.attributes["connection"], target_metadata=tables.metadata)
with context.begin_transaction():
    context.run_migrations()
