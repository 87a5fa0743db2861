{#-
    Connected components of an undirected graph, as a subquery (node, label); the label is the smallest node.

    `edges` names a relation or CTE with the columns `node` and `neighbour`, each edge in both directions. Nodes without an
    edge do not come back. Labels travel along the edges until none becomes smaller: `using key` keeps one row per node, so
    that a round costs what changed in the round before, not what is known so far.
-#}
{% macro connected_components(edges) -%}
    (
        with recursive component (node, label) using key (node) as (
            select
                node,
                least(node, min(neighbour)) as label
            from {{ edges }}
            group by node
            union
            select
                edge.neighbour as node,
                min(component.label) as label
            from component
            inner join {{ edges }} as edge on component.node = edge.node
            inner join recurring.component as known on edge.neighbour = known.node
            where component.label < known.label
            group by edge.neighbour
        )

        select
            node,
            label
        from component
    )
{%- endmacro %}
