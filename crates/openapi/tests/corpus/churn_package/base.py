"""What all models of the company have."""

import churn_package.schemas.customer
from churn_package.schemas import Plan


class ModelBase:
    def plans(self, active: bool = True) -> list[Plan]:
        """Plans that are sold."""

    def raw(self, customer: churn_package.schemas.customer.Customer) -> float:
        """The score before it is scaled."""
