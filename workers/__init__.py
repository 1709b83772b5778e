"""What runs on the cluster's machines: data, supernet, training, evaluation, export; Ray actors over them."""
