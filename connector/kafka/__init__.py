"""The edge to Kafka: the only importer of confluent_kafka."""
